"""Serves until a provider reports, and kills itself once that is committed and not answered.

killed_report FLAGS…: those of `heed-server serve`
"""

import os
import signal
import sys

from heed_server.auth.policy import Principal
from heed_server.cli.main import main
from heed_server.service.reports import ReportAsked, Reports
from heed_server.writes import Appended

recorded = Reports.record_report


async def record_and_die(self: Reports, principal: Principal, asked: ReportAsked) -> Appended:
    await recorded(self, principal, asked)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it outlived that")


if __name__ == "__main__":
    Reports.record_report = record_and_die  # type: ignore[method-assign]
    sys.argv = ["heed-server", "serve", *sys.argv[1:]]
    main()
