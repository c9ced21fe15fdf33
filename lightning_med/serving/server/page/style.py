"""How the page looks: Gradio's theme in the colours of our reports, light and dark."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("page.css")
_COLOURS = {  # light, dark
    "body_background_fill": ("#fbfbf9", "#13181a"),
    "background_fill_primary": ("#ffffff", "#1b2225"),
    "background_fill_secondary": ("#f1f3f1", "#1b2225"),
    "block_background_fill": ("#ffffff", "#1b2225"),
    "block_label_background_fill": ("#ffffff", "#1b2225"),
    "block_label_text_color": ("#55626a", "#9dabae"),
    "block_title_text_color": ("#1b2326", "#e4e9e8"),
    "block_info_text_color": ("#55626a", "#9dabae"),
    "body_text_color": ("#1b2326", "#e4e9e8"),
    "body_text_color_subdued": ("#55626a", "#9dabae"),
    "border_color_primary": ("#d9dfdd", "#2d373a"),
    "block_border_color": ("#d9dfdd", "#2d373a"),
    "border_color_accent": ("#0c6660", "#66c9bf"),
    "border_color_accent_subdued": ("#d9dfdd", "#2d373a"),
    "color_accent_soft": ("#e3efed", "#21383a"),
    "input_background_fill": ("#ffffff", "#13181a"),
    "input_border_color": ("#8b979b", "#6b7a7e"),
    "input_border_color_focus": ("#0c6660", "#66c9bf"),
    "input_placeholder_color": ("#55626a", "#9dabae"),
    "button_primary_background_fill": ("#0c6660", "#66c9bf"),
    "button_primary_background_fill_hover": ("#095049", "#8ad8d0"),
    "button_primary_text_color": ("#ffffff", "#0c1f1e"),
    "button_primary_text_color_hover": ("#ffffff", "#0c1f1e"),
    "button_primary_border_color": ("#0c6660", "#66c9bf"),
    "button_primary_border_color_hover": ("#095049", "#8ad8d0"),
    "button_secondary_background_fill": ("#ffffff", "#1b2225"),
    "button_secondary_background_fill_hover": ("#f1f3f1", "#242d30"),
    "button_secondary_border_color": ("#8b979b", "#6b7a7e"),
    "button_secondary_border_color_hover": ("#0c6660", "#66c9bf"),
    "button_secondary_text_color": ("#1b2326", "#e4e9e8"),
    "button_secondary_text_color_hover": ("#1b2326", "#e4e9e8"),
}
_SHAPES = {
    "block_radius": "8px",
    "button_border_width": "1px",
    "button_border_width_dark": "1px",
    "button_large_text_size": "1rem",
    "button_large_padding": "0.55rem 1.25rem",
    "layout_gap": "0.9rem",
    "input_radius": "6px",
    "block_shadow": "none",
    "button_primary_shadow": "none",
    "button_secondary_shadow": "none",
    "input_shadow": "none",
}


def make_theme() -> gr.themes.Base:
    """Returns the theme. Its fonts are those of the reader's system: nothing is loaded."""
    theme = gr.themes.Default(
        font=["system-ui", "Segoe UI", "Roboto", "Noto Sans", "Liberation Sans", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    colours = {name: light for name, (light, _) in _COLOURS.items()}
    colours |= {f"{name}_dark": dark for name, (_, dark) in _COLOURS.items()}

    return theme.set(**colours, **_SHAPES)
