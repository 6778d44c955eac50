"""The bytes of a file: its content, the ELF header, tables, facts."""
