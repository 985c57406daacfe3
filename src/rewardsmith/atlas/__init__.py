"""The atlas: 78 papers, and a page for each that is done, on which its claim is run and judged.

Nothing here loads torch until a page is loaded or run.
"""

from rewardsmith.atlas.catalogue import Paper, find_paper, load_catalogue, search_catalogue, status_of
from rewardsmith.atlas.discovery import find_page, load_page, page_slugs, read_pages
from rewardsmith.atlas.page import Page
from rewardsmith.atlas.run import Run, run_page

__all__ = [
    "Page",
    "Paper",
    "Run",
    "find_page",
    "find_paper",
    "load_catalogue",
    "load_page",
    "page_slugs",
    "read_pages",
    "run_page",
    "search_catalogue",
    "status_of",
]
