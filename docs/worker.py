"""A worker that expects the five-tuple of a skill class, and takes the classes made in memory in its place.

Run it: ``python docs/worker.py bert fill-mask "the quick brown [MASK] jumps" "paris is the [MASK] of france"``
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from pytest_ipfs_accelerate.skillset import skill_class


class Worker:
    """Serves the requests of one endpoint, one after another, from its queue."""

    def __init__(self, skill: Any, hardware: str, task: str, model: str = "") -> None:
        opened = getattr(skill, f"init_{hardware}")(model, task, hardware, f"{hardware}:0")
        self.endpoint, self.processor, self.handler, self.queue, self.batch_size = opened

    async def serve(self) -> None:
        """Answer until cancelled; a request that fails hands its exception to who asked."""
        while True:
            inputs, answer = await self.queue.get()
            try:
                answer.set_result(await asyncio.to_thread(self.handler, *inputs))
            except Exception as error:
                answer.set_exception(error)
            finally:
                self.queue.task_done()

    async def ask(self, *inputs: Any) -> Any:
        """The answer to one request."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self.queue.put((inputs, answer))
        return await answer


async def main(model: str, task: str, hardware: str, texts: list[str]) -> None:
    worker = Worker(skill_class(model)(), hardware, task)
    serving = asyncio.create_task(worker.serve())
    for result in await asyncio.gather(*(worker.ask(text) for text in texts)):
        print(result.decoded[0], f"({result['implementation_type']} on {result['device']})")
    serving.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("task")
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--hardware", default="cpu")
    options = parser.parse_args()
    asyncio.run(main(options.model, options.task, options.hardware, options.texts))
