//! Who may use the workbench? `[workbench]`.

use schemars::JsonSchema;
use serde::Serialize;

use super::address::CorsOrigin;
use super::reader::Section;
use super::secret::Secret;

/// Access to the workbench, which this version does not serve yet; existing projects have these keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Workbench {
    /// Key that callers of the workbench present
    ///
    /// Used by the workbench, which this version does not serve yet. Write it as it is, as a reference to an environment
    /// variable (`${NAME}`) or to a file (`file:secrets/key`). Also read from `ROHAS_WORKBENCH_API_KEY`. Default: none.
    pub api_key: Option<Secret>,

    /// Origins of pages that may call the workbench
    ///
    /// Used by the workbench, which this version does not serve yet. Each is written as `scheme://host` or
    /// `scheme://host:port`. Also read from `ROHAS_WORKBENCH_ALLOWED_ORIGINS`, separated by commas. Default: empty.
    pub allowed_origins: Vec<CorsOrigin>,
}

impl Workbench {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { api_key: section.secret("api_key"), allowed_origins: section.get("allowed_origins", Vec::new()) }
    }
}
