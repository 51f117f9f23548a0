"""Every bound of the dashboard that is no setting; docs/limits.md is the table of them."""

from dataclasses import dataclass
from typing import Final

SESSIONS_MAX: Final = 1_000
"""Sessions at once; one more ends the oldest. Higher: more memory, some 2 KiB each."""
SESSIONS_OF_PRINCIPAL_MAX: Final = 20
"""Sessions of one principal; one more ends their oldest."""
FORM_BYTES_MAX: Final = 16_384
"""Bytes of a form; a JWT has some 2,000. More is 413."""
CREDENTIAL_CHARACTERS_MAX: Final = 8_192
"""Characters of what somebody signs in with."""
PAGE_ROWS_MAX: Final = 200
"""Rows of a table on a page. Higher: a page takes longer to send, each time something moves."""
EXPORT_ROWS_MAX: Final = 10_000
"""Rows of a table in CSV or JSON. Higher: reading them keeps the loop from Checks for longer."""
PDF_ROWS_MAX: Final = 1_000
"""Rows of a table in a PDF. Higher: it takes longer to make, some milliseconds a row."""
PDF_CHARACTERS_MAX: Final = 150_000
"""Characters of a table's rows in a PDF, of which one that the font has not is eight; the first row
is whole in any case. Higher: one that is full of long texts takes longer than its answer may."""
PDFS_MAX: Final = 8
"""PDFs that are made or wait for it; one more is 429. Higher: the last takes longer than it may."""
PDFS_OF_PRINCIPAL_MAX: Final = 2
"""The same of one principal. Higher: one lets all others wait for longer."""
LIVE_SECONDS: Final = 1.0
"""How often an open page asks again. Lower: open pages cost more; higher: they are behind."""
SIGN_IN_BURST_SECONDS: Final = 100.0
"""For how many seconds' worth of `dashboard.sign_ins_per_second_max` an address that was silent may
try at once."""
VIEW_SECONDS_MAX: Final = 30.0
"""How long an answer may take; then it is 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardLimits:
    """What people may take of the dashboard, as the settings say."""

    session_minutes: float = 480.0
    """How long a session lasts, used or not."""
    sign_ins_per_second_max: float = 0.2
    """Attempts to sign in of one address."""
