import subprocess
import sys

# Whichever comes first: else it depends on who imports it whether a module can be imported.
EACH_FIRST = """
import importlib, pkgutil, sys
import streamapp.kafka
names = [found.name for found in pkgutil.iter_modules(streamapp.kafka.__path__, "streamapp.kafka.")]
for name in names:
    for known in [known for known in sys.modules if known.partition(".")[0] == "streamapp"]:
        del sys.modules[known]
    importlib.import_module(name)
print(len(names))
"""


def test_each_module_can_be_imported_first():
    done = subprocess.run([sys.executable, "-c", EACH_FIRST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
