"""Version + plan -> Deployment (a ``Route``).

The stage's one rule: an arm gets more requests, or all of them, on evidence alone; without evidence the champion stays.
"""
