"""Instruction sets, a folder each."""
