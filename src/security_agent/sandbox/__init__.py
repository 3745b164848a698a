"""The built-in runner: looks at a repository's code for uses of a package, contained in processes of their own."""
