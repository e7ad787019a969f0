"""Pages about organisms."""
