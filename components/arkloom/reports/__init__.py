"""Building blocks of the HTML reports: pages, tables, figures, debates to read; each stage brings its data.

A page is one file that needs nothing else: style and drawings are inline, there is no script, and all
text that comes from models, problems or users is escaped.
"""
