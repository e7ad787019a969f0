"""One module per kind of result that has a page of its own, named as its schema.

Each has `view(document) -> dict` (what its templates need sorted or grouped; numbers keep their pointers) and
`figures(document) -> dict[str, bytes]` (SVG by name). Its templates are `NAME.html.j2` and `NAME.md.j2`.
"""
