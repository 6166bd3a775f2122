"""The demo: a year of real flights through the whole loop, by the product's own commands and addresses."""
