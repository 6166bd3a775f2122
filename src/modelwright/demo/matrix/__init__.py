"""What packs how: real models of every framework, trained on small data, packed, opened again and timed."""
