//! Settings of scripts that run in Mantid.

use crate::model::python;

/// Inserts Mantid's settings at the beginning of a script, after its imports from `__future__`,
/// which Python requires to be first.
pub(super) fn with_settings(script: &str, github_token: &str) -> String {
    let (mut lines, rest): (Vec<&str>, Vec<&str>) =
        python::split_lines(script).partition(|line| line.starts_with("from __future"));
    let token =
        format!(r#"ConfigService.Instance()["network.github.api_token"] = "{github_token}""#);
    lines.push("from mantid.kernel import ConfigService");
    lines.push(&token);
    lines.extend(rest);
    lines.join("\n")
}
