"""What `import clair3` offers (docs/api.md): calling runs, evaluations and networks as functions that return values.

Nothing is printed, no logging is set up, no call ends the process: what the command line says in one line is raised as
an error of clair3.errors. clair3/__init__.py imports these modules when one of their names is first used.
"""
