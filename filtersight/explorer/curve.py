"""The curve of a climb."""

from __future__ import annotations

import numpy as np

from filtersight.basics.checks import two_digits


def curve(values: np.ndarray, steps: int) -> str:
    """Activations of the steps so far as a line, in the colours of the page: SVG."""
    width, height, left, bottom = 320, 110, 44, 18
    head = f'<svg width="{width}" height="{height}" role="img" font-size="11" fill="currentColor"'
    if not len(values):
        return f'{head} aria-label="no activation yet"></svg>'
    given, values = (
        values[-1],
        np.nan_to_num(values, posinf=0, neginf=0),
    )  # no number: at the bottom
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    shown = np.unique(np.linspace(0, len(values) - 1, 160).astype(int))
    right = left + (shown + 1) / max(steps, 1) * (width - left - 4)
    # A silent filter has a line along the bottom.
    share = (values[shown] - low) / (high - low) if high > low else np.zeros(len(shown))
    down = height - bottom - share * (height - bottom - 8)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(right, down, strict=True))
    floor = height - bottom
    return (
        f'{head} aria-label="activation {two_digits(given)} after {len(values)} steps">'
        f'<path d="M{left},8V{floor}H{width - 4}" fill="none" stroke="currentColor" opacity=".4"/>'
        f'<polyline points="{points}" fill="none" stroke="#e8710a" stroke-width="2"/>'
        f'<text x="{left - 4}" y="14" text-anchor="end">{two_digits(high)}</text>'
        f'<text x="{left - 4}" y="{floor}" text-anchor="end">{two_digits(low)}</text>'
        f'<text x="{left}" y="{height - 4}">activation by step</text>'
        f'<text x="{width - 4}" y="{height - 4}" text-anchor="end">{steps}</text></svg>'
    )
