"""Signatures of packages in the format of OpenSSF Model Signing (OMS): made and checked without a network.

A pure library over ``cryptography``. ``oms`` writes and reads bundles, ``keys`` holds the keys, ``check`` says what a
bundle is worth under the keys that are trusted.
"""
