"""Pictures side by side in one image: a row of a caption, a column of a model or a step."""

from collections.abc import Sequence
from typing import Any

from alignkit.errors import InputError


# Small pictures are enlarged, by a whole number, so that one can see them.
LEAST_CELL = 96
GAP = 6
TEXT_HEIGHT = 16
CHARACTER_WIDTH = 6
BACKGROUND, INK = (255, 255, 255), (40, 44, 52)


def image_grid(
    rows: Sequence[Sequence[Any]], captions: Sequence[str] | None = None, column_titles: Sequence[str] | None = None
) -> Any:
    """One PIL image of `rows` of PIL images, all cells of the size of the largest picture.

    Args:
        rows: the pictures; rows may differ in length.
        captions: one text above each row.
        column_titles: one text above each column.

    Raises:
        InputError: without a picture, or where captions or titles are not as many as rows or columns.
    """
    from PIL import Image, ImageDraw, ImageFont

    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise InputError("the image grid has no pictures; give at least one row with one")
    for texts, count, kind in ((captions, len(rows), "captions"), (column_titles, columns, "column titles")):
        if texts is not None and len(texts) != count:
            raise InputError(f"the image grid has {len(texts)} {kind} for {count} {kind.split()[-1]}; give one each")
    width = max(picture.width for row in rows for picture in row)
    height = max(picture.height for row in rows for picture in row)
    factor = max(1, LEAST_CELL // max(width, height))
    width, height = width * factor, height * factor
    above_row = TEXT_HEIGHT if captions is not None else 0
    above_all = TEXT_HEIGHT if column_titles is not None else 0
    total = columns * (width + GAP) + GAP
    grid = Image.new("RGB", (total, above_all + len(rows) * (height + above_row + GAP) + GAP), BACKGROUND)
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(11)
    for column, title in enumerate(column_titles or ()):
        place = GAP + column * (width + GAP), 2
        draw.text(place, cut_text(title, width), fill=INK, font=font)
    for number, row in enumerate(rows):
        top = above_all + GAP + number * (height + above_row + GAP)
        if captions is not None:
            draw.text((GAP, top), cut_text(captions[number], total - 2 * GAP), fill=INK, font=font)
        for column, picture in enumerate(row):
            enlarged = picture.convert("RGB").resize(
                (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
            )
            grid.paste(enlarged, (GAP + column * (width + GAP), top + above_row))
    return grid


def cut_text(text: str, width: int) -> str:
    """A text that fits into `width` pixels, roughly."""
    room = max(1, width // CHARACTER_WIDTH)
    text = " ".join(text.split())
    return text if len(text) <= room else f"{text[: room - 1]}…"
