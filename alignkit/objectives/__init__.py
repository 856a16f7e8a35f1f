"""The maths of every method as pure functions on tensors: torch only, no I/O, no state.

One file per method inside the sub-package of its kind (`preference`, `policy`, `advantages`, `rewards`, `values`,
`sampling`, ...); the sub-packages re-export the names.
"""
