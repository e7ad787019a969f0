"""Where labelled rows may come from: one file a route."""
