"""A progress bar on stderr, where a person is watching."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def progress(words: str, total: int | None) -> Generator[Callable[[int], None]]:
    """Show how far long work has come, if stderr is a terminal.

    What it gives takes how much is done so far, in the unit of `total` (None: not known).
    """
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done: bar.update(task, completed=done)
