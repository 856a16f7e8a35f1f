"""The one exception that means: the input is wrong, and here is where."""


class InputError(ValueError):
    """Bad input from the user: a file, a row, a field or a flag.

    The message is one plain sentence that names the place (file, row, field), the value found and the valid range or
    what to do. The command line prints it and exits with code 2, without a traceback.
    """
