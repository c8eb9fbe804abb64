# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tables that commands make, put into the pages that have room for them.

``python -m examples.pages PAGE.md FOLDER`` replaces what stands between
``<!-- NAME: generated -->`` and ``<!-- end -->`` by ``NAME.md`` of the folder, for each
name on the page that the folder has.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from spin_dp.errors import DataError
from spin_dp.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARKED = re.compile(r"<!-- (\w+): generated -->\n.*?<!-- end -->", re.DOTALL)


def part_names(page: str) -> list[str]:
    """Return the names of the generated parts of a page, in their order."""
    return [match[1] for match in _MARKED.finditer(page)]


def fill_in(page: str, parts: Mapping[str, str]) -> str:
    """Return the page with generated parts replaced; others stay.

    Parameters
    ----------
    page
        Markdown with the lines ``<!-- NAME: generated -->`` and ``<!-- end -->``.
    parts
        Markdown of each part.

    Raises
    ------
    DataError
        If the page has not just one place for each part.
    """
    names = part_names(page)
    wrong = [name for name in parts if names.count(name) != 1]
    if wrong:
        raise DataError(
            f"page: expected one place for each of {', '.join(wrong)}, found places "
            f"for {', '.join(names) or 'nothing'}."
        )

    def part(match: re.Match[str]) -> str:
        if match[1] not in parts:
            return match[0]
        return f"<!-- {match[1]}: generated -->\n\n{parts[match[1]]}\n\n<!-- end -->"

    return _MARKED.sub(part, page)


def fill_page(page: Path, folder: Path) -> list[str]:
    """Put the tables of a folder into a page; return the names of those that it has.

    Parameters
    ----------
    page
        Markdown.
    folder
        With ``NAME.md``.

    Raises
    ------
    DataError
        As :func:`fill_in`.
    """
    text = page.read_text(encoding="utf-8")
    files = {name: folder / f"{name}.md" for name in part_names(text)}
    found = {
        name: file.read_text(encoding="utf-8").strip()
        for name, file in files.items()
        if file.is_file()
    }
    write_text(page, fill_in(text, found))
    return list(found)


def main() -> None:
    """Fill one page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    print(
        f"{given.page}: {', '.join(fill_page(given.page, given.folder)) or 'nothing'}"
    )


if __name__ == "__main__":
    main()
