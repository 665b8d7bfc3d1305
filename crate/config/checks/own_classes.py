"""Checks of the user's own classes that a field names instead of one of its choices."""

from __future__ import annotations

from crate.config.checks.parameters import full_signature
from crate.config.dotted_names import own_classes
from crate.config.schema import Target
from crate.config.target import locate
from crate.errors import UserError


def own_class_errors(at: str, node: Target) -> list[UserError]:
    """Return an error for each class that does not exist, or that takes other arguments."""
    errors = []
    for field_name, name in own_classes(node).items():
        key = f"{at}.{field_name}"
        expected = type(node).__dataclass_fields__[field_name].metadata["own_class"]
        try:
            full_signature(locate(name, key)).bind(*expected)
        except UserError as error:
            errors.append(error)
        except TypeError as error:
            given = f"{key}: {name} cannot be called as {name.rpartition('.')[2]}"
            given += f"({', '.join(expected)}): {error}"
            errors.append(UserError(given, f"a class that takes {', '.join(expected)}"))
        except ValueError:  # a built-in callable without a signature to check
            continue
    return errors
