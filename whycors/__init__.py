"""Says why a browser blocks a page's request, and what to change: `flask cors` and `whycors`.

It is installed beside an app, by the address of the template's repository. No app imports it.
"""
