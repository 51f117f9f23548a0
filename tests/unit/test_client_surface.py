"""What `import heed` gives, and what it costs."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import heed
from heed.client import Client
from heed.connection.methods import METHODS
from heed.sync_client import SyncClient

ROOT = Path(__file__).parents[2]
HEAVY = ("lmdb", "typer", "rich", "pydantic", "sqlalchemy", "idna", "msgspec", "pytest")


def public_methods(class_: type) -> dict[str, Callable[..., object]]:
    return {
        name: member
        for name, member in inspect.getmembers(class_, inspect.isfunction)
        if not name.startswith("_")
    }


def plain(annotation: object) -> str:
    """A type without the words of asyncio, so that the two clients' can be compared."""
    text = str(annotation).replace("AsyncIterator", "Iterator")
    text = text.replace("SyncCheckStream", "CheckStream")
    return text.replace("heed.client.", "heed.sync_client.")


def test_every_public_name_is_there_and_the_list_is_sorted() -> None:
    assert [name for name in heed.__all__ if not hasattr(heed, name)] == []
    assert len(set(heed.__all__)) == len(heed.__all__)
    constants = [name for name in heed.__all__ if name.isupper()]
    classes = [name for name in heed.__all__ if name[0].isupper() and not name.isupper()]
    functions = [name for name in heed.__all__ if name.islower()]
    assert heed.__all__ == [*sorted(constants), *sorted(classes), *sorted(functions)]


def test_every_public_name_says_what_it_is() -> None:
    for name in heed.__all__:
        value = getattr(heed, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name


def test_the_synchronous_client_is_what_the_asynchronous_one_generates() -> None:
    command = [sys.executable, "scripts/generate_sync_client.py", "--check"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_both_clients_have_the_same_methods_with_the_same_signatures() -> None:
    with_await, without = public_methods(Client), public_methods(SyncClient)

    assert with_await.keys() == without.keys()
    for name, method in with_await.items():
        one = inspect.signature(method, eval_str=True)
        other = inspect.signature(without[name], eval_str=True)
        assert one.parameters == other.parameters, name
        assert plain(one.return_annotation) == plain(other.return_annotation), name
        assert inspect.isgeneratorfunction(without[name]) == inspect.isasyncgenfunction(method)


def test_there_is_a_method_for_every_rpc() -> None:
    """The library's names are its own; what each calls is in its source."""
    package = importlib.import_module("heed.client")
    source = "".join(
        inspect.getsource(importlib.import_module(f"heed.client.{module.name}"))
        for module in pkgutil.iter_modules(package.__path__)
    )
    constants = {
        name
        for name, value in vars(importlib.import_module("heed.connection.methods")).items()
        if value in METHODS
    }

    assert len(constants) == len(METHODS)
    assert [name for name in constants if f"methods.{name}," not in source] == []


@pytest.mark.parametrize("module", ["heed", "heed.client", "heed.sync_client"])
def test_importing_the_library_brings_grpc_and_nothing_heavy(module: str) -> None:
    loaded = f"import sys, {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", loaded], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize("module", ["heed.cli.main", "heed.testing"])
def test_what_is_beside_the_library_imports_without_a_warning(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {module}"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "client" / "heed" / "py.typed").exists()
