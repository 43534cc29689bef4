"""What every test shares."""

import signal

import pytest

# A background job is born deaf to interrupts, and would pass that on to the processes under test.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
