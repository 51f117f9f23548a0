"""Serves until a link is pressed, and kills itself once that is committed and not answered.

killed_press FLAGS…: those of `heed-server serve`
"""

import os
import signal
import sys

from heed.wire.asked import PreferencesAsked
from heed_server.auth.policy import Principal
from heed_server.cli.main import main
from heed_server.service.choices import Choices
from heed_server.writes import Appended

recorded = Choices.set_preference


async def record_and_die(self: Choices, principal: Principal, asked: PreferencesAsked) -> Appended:
    await recorded(self, principal, asked)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it outlived that")


if __name__ == "__main__":
    Choices.set_preference = record_and_die  # type: ignore[method-assign]
    sys.argv = ["heed-server", "serve", *sys.argv[1:]]
    main()
