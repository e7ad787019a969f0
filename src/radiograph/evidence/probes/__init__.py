"""What the probes find, one file each. Imported from their modules: a verb needs those of one."""
