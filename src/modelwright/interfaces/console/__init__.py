"""The pages: server-rendered, deep-linkable, under a strict content security policy."""
