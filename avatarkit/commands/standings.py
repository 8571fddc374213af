"""One line a competitor: quality on head and frame, what the fit took and how fast it draws; also as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avatarkit.commands import console
from avatarkit.files.streams import atomic

# Column -> (title, digits, whether more is better, None where neither is)
COLUMNS: dict[str, tuple[str, int, bool | None]] = {
    "fit_minutes": ("fit min", 1, None),
    "steps": ("steps", 0, None),
    "frames_per_second": ("frames/s", 2, True),
    "head_psnr": ("head PSNR", 2, True),
    "head_ssim": ("head SSIM", 4, True),
    "head_lpips": ("head LPIPS", 4, False),
    "frame_psnr": ("frame PSNR", 2, True),
    "frame_ssim": ("frame SSIM", 4, True),
    "mouth_psnr": ("mouth PSNR", 2, True),
    "train_psnr_head": ("train head PSNR", 2, True),
}


def standings(rows: list[dict[str, Any]], avatars: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each competitor in ``rows`` of an evaluation, in their order.

    ``avatars``: what is known of some of them by name: ``method``, ``fit_minutes``, ``steps``, ``frames_per_second``,
    ``train_psnr_head``. What is not known of a competitor is None.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        line = found.setdefault(row["name"], {"name": row["name"], "method": None, **dict.fromkeys(COLUMNS)})
        line.update(avatars.get(row["name"], {}))
        for metric in ("psnr", "ssim", "lpips"):
            key = f"{row['region']}_{metric}"
            if key in COLUMNS:
                line[key] = row[metric]
    return list(found.values())


def print_standings(lines: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """The table on standard output, best values in bold; columns nobody has are left out."""
    from rich.table import Table

    table = Table(title=f"{summary['frames']} {summary['split']} frames", title_justify="left")
    used = _used(lines)
    table.add_column("name")
    table.add_column("method")
    for key in used:
        table.add_column(COLUMNS[key][0], justify="right")
    best = {key: _best(key, lines) for key in used}
    for line in lines:
        cells = [_text(key, line[key], line[key] == best[key], "[bold]{}[/bold]") for key in used]
        table.add_row(line["name"], line["method"] or "", *cells)
    console.show(table)


def write_markdown(path: Path, lines: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """The table as a Markdown file, best values in bold."""
    used = _used(lines)
    best = {key: _best(key, lines) for key in used}
    heads = ["name", "method", *(COLUMNS[key][0] for key in used)]
    text = [
        f"{summary['frames']} {summary['split']} frames of {Path(summary['truth']).name}, "
        f"{summary['resolution']} pixels",
        "",
        "| " + " | ".join(heads) + " |",
        "|---|---|" + "---:|" * len(used),
    ]
    for line in lines:
        cells = [_text(key, line[key], line[key] == best[key], "**{}**") for key in used]
        text.append(
            "| " + " | ".join([line["name"].replace("|", "\\|"), line["method"] or "", *cells]) + " |"
        )
    with atomic(path) as temporary:
        temporary.write_text("\n".join(text) + "\n", encoding="utf-8")


def _used(lines: list[dict[str, Any]]) -> list[str]:
    return [key for key in COLUMNS if any(line[key] is not None for line in lines)]


def _best(key: str, lines: list[dict[str, Any]]) -> float | None:
    values = [line[key] for line in lines if line[key] is not None]
    more = COLUMNS[key][2]
    if more is None or len(values) < 2:
        return None
    return max(values) if more else min(values)


def _text(key: str, value: float | None, best: bool, strong: str) -> str:
    if value is None:
        return "-"
    text = f"{value:.{COLUMNS[key][1]}f}"
    return strong.format(text) if best else text
