"""Text templates with named fields in braces."""

import re

from alignkit.errors import InputError


def check_template(template: str, fields: tuple[str, ...] = ("prompt", "first", "second")) -> None:
    """Raise `InputError` naming the first field that `template` lacks."""
    for name in fields:
        if "{" + name + "}" not in template:
            raise InputError(f"the template lacks the field {{{name}}}; it needs {', '.join(fields)} in braces")


def fill(template: str, **values: str) -> str:
    """Put `values` into the fields of `template` in one pass, so that braces in the values mean nothing."""
    return re.sub(r"\{(" + "|".join(values) + r")\}", lambda match: values[match.group(1)], template)
