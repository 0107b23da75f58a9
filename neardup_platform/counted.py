"""A number with its noun, in the singular or the plural. Pure."""


def counted(number: int, noun: str) -> str:
    """Returns such as `1 cluster`, `2 matches` or `1,234 copies`.

    Args:
        noun: in the singular, one with a regular plural.
    """
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}{'es' if noun.endswith(('ch', 'sh', 's', 'x')) else 's'}"
