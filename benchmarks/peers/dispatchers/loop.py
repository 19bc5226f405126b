"""Reads: commands. Writes: runs. One record after the other: a blocking POST, its answer printed, auto commit."""

from benchmarks.peers.dispatchers.setup import Setup, command, post


def main() -> None:
    """Run until killed."""
    setup = Setup()
    client, consumer = setup.client(), setup.consumer()
    while True:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            print(message.error(), flush=True)
            continue
        dag_id, conf = command(message)
        answer = post(client, dag_id, conf)
        print(answer.status_code, flush=True)


if __name__ == "__main__":
    main()
