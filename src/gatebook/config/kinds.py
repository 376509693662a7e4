"""The kinds of text that keys of several tables hold. `values` has the rule of each."""

from typing import Annotated

from pydantic import AfterValidator

from gatebook.config import values

Glob = Annotated[str, AfterValidator(values.glob)]
UriGlob = Annotated[str, AfterValidator(values.uri_glob)]
MethodGlob = Annotated[str, AfterValidator(values.method_glob)]
Path = Annotated[str, AfterValidator(values.path)]
RoleName = Annotated[str, AfterValidator(values.role_name)]
Name = Annotated[str, AfterValidator(values.server_name)]
Text = Annotated[str, AfterValidator(values.text)]
