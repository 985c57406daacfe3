"""What the audit knows about answer keys, independent of any verifier."""

from rewardsmith.auditing.equivalence.keys import Kind, committed, equivalent, key_kind
from rewardsmith.auditing.equivalence.numbers import Number, read_number
from rewardsmith.auditing.equivalence.reading import number_tokens, reads_off, stands_alone
from rewardsmith.auditing.equivalence.spellings import Form, equivalent_forms, same_notation
from rewardsmith.auditing.equivalence.wrong import prefixes, supersets, wrong_answers

__all__ = [
    "Form",
    "Kind",
    "Number",
    "committed",
    "equivalent",
    "equivalent_forms",
    "key_kind",
    "number_tokens",
    "prefixes",
    "read_number",
    "reads_off",
    "same_notation",
    "stands_alone",
    "supersets",
    "wrong_answers",
]
