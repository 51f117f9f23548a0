"""Serves until something is chosen, and kills itself once that is committed and not answered.

killed_press FLAGS…: those of `heed-server serve`
"""

import os
import signal
import sys

from heed.wire.asked import PersonAsked, WriteCall
from heed_server.auth.policy import Principal
from heed_server.cli.main import main
from heed_server.service.choices import Choices
from heed_server.service.tenants import TenantContext
from heed_server.writes import Appended

recorded = Choices.record_choices


async def record_and_die(
    self: Choices,
    context: TenantContext,
    capped: Principal | None,
    call: WriteCall,
    person: PersonAsked,
) -> Appended:
    await recorded(self, context, capped, call, person)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it outlived that")


if __name__ == "__main__":
    Choices.record_choices = record_and_die  # type: ignore[method-assign]
    sys.argv = ["heed-server", "serve", *sys.argv[1:]]
    main()
