"""The atlas: 78 papers, and a page for each that is done, on which its claim is run and judged.

Nothing here loads torch until a page is loaded or run.
"""

from rewardsmith.atlas.catalogue import (
    STATUSES,
    Paper,
    Status,
    find_paper,
    load_catalogue,
    page_of,
    search_catalogue,
    status_of,
)
from rewardsmith.atlas.criteria import (
    All,
    AtLeast,
    AtMost,
    Criterion,
    Equal,
    LowerBound,
    PairedGain,
    RankAgreement,
    Results,
    Verdict,
    Within,
    sign_flip_p_value,
)
from rewardsmith.atlas.discovery import find_page, load_page, page_slugs, read_pages
from rewardsmith.atlas.page import LoadedPage, Page
from rewardsmith.atlas.run import Run, changed_world, intervals, run_page

__all__ = [
    "STATUSES",
    "All",
    "AtLeast",
    "AtMost",
    "Criterion",
    "Equal",
    "LoadedPage",
    "LowerBound",
    "Page",
    "PairedGain",
    "Paper",
    "RankAgreement",
    "Results",
    "Run",
    "Status",
    "Verdict",
    "Within",
    "changed_world",
    "find_page",
    "find_paper",
    "intervals",
    "load_catalogue",
    "load_page",
    "page_of",
    "page_slugs",
    "read_pages",
    "run_page",
    "search_catalogue",
    "sign_flip_p_value",
    "status_of",
]
