"""Rows and what is done to them before any reward sees them."""

from rewardsmith.data.rows import ANSWER_NAMES, Row, read_rows, text_of

__all__ = ["ANSWER_NAMES", "Row", "read_rows", "text_of"]
