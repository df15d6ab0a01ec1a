//! The flags of the plugin, named as those of kubectl.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;

use crate::cli::values;

/// The exit code of a command that worked and found something amiss.
pub(super) const AMISS: u8 = 3;

pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 all is well, 1 it could not be done, or not with all of them, 2 the command line is wrong, 3 it was done and something is amiss: a resource is not ready, \
a new token was not delivered, a check found something.

NO_COLOR switches colours off. KUBECONFIG names the kubeconfig files, as for kubectl.";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  kubectl revoiceit status speech
  kubectl revoiceit status -n team-a
  kubectl revoiceit status -A -o json
  kubectl revoiceit status speech > /dev/null || echo not ready";

pub(super) const ROTATE_EXAMPLES: &str = "\
Examples:
  kubectl revoiceit rotate speech --wait
  kubectl revoiceit rotate -l team=speech --wait --timeout 5m
  kubectl revoiceit rotate -A

By hand:
  kubectl annotate rvc speech --overwrite revoiceit.com/rotate-requested-at=\"$(date)\"";

pub(super) const SUSPEND_EXAMPLES: &str = "\
Examples:
  kubectl revoiceit suspend speech
  kubectl revoiceit suspend -l team=speech -n team-a

By hand:
  kubectl patch rvc speech --type merge -p '{\"spec\":{\"suspend\":true}}'";

pub(super) const RESUME_EXAMPLES: &str = "\
Examples:
  kubectl revoiceit resume speech
  kubectl revoiceit resume -A

By hand:
  kubectl patch rvc speech --type merge -p '{\"spec\":{\"suspend\":false}}'";

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  kubectl revoiceit doctor
  kubectl revoiceit doctor --operator-namespace revoiceit-system -o yaml
  kubectl revoiceit doctor -n team-a    # of the resources, those of one namespace";

pub(super) const COMPLETION_EXAMPLES: &str = "\
Examples:
  kubectl revoiceit completion bash > ~/.local/share/bash-completion/completions/kubectl-revoiceit
  kubectl revoiceit completion zsh > ~/.zfunc/_kubectl-revoiceit";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  kubectl revoiceit man > kubectl-revoiceit.1
  kubectl revoiceit man rotate > kubectl-revoiceit-rotate.1";

/// How the cluster is reached.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct ClusterFlags {
    /// Namespace to look in. When left out: that of the kubeconfig's context.
    #[arg(help_heading = "Cluster", short = 'n', long, global = true, value_name = "NAMESPACE", value_parser = values::namespace)]
    pub namespace: Option<String>,
    /// Context of the kubeconfig. When left out: its current context.
    #[arg(help_heading = "Cluster", long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Kubeconfig file. When left out: $KUBECONFIG, else ~/.kube/config, else the service account of the pod.
    #[arg(help_heading = "Cluster", long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// The flags of `status`.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct StatusArgs {
    /// The resource. All of the namespace when left out.
    #[arg(value_name = "NAME", conflicts_with_all = ["selector", "all_namespaces"])]
    pub name: Option<String>,
    /// Only resources with these labels, for example team=speech.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Those of all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// How it is printed.
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

/// Which resources something is done with.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
#[group(required = true, multiple = true, args = ["names", "selector", "all_namespaces"])]
pub struct Which {
    /// The resources.
    #[arg(value_name = "NAME", conflicts_with_all = ["selector", "all_namespaces"])]
    pub names: Vec<String>,
    /// All resources with these labels, for example team=speech.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Those of all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// The flags of `rotate`.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct RotateArgs {
    /// Which resources.
    #[command(flatten)]
    pub which: Which,
    /// Wait until the new tokens are in the target Secrets, or say why they are not.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait. From 1s to 24h.
    #[arg(long, value_name = "DURATION", default_value = "2m", requires = "wait", value_parser = |text: &str| values::duration(text, "1s", "24h"))]
    pub timeout: Duration,
}

/// The flags of `suspend` and `resume`.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct SuspendArgs {
    /// Which resources.
    #[command(flatten)]
    pub which: Which,
}

/// The flags of `doctor`.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct DoctorArgs {
    /// The operator's own namespace, where its ledgers and its lease are.
    #[arg(long, value_name = "NAMESPACE", default_value = crate::runtime::identity::DEFAULT_NAMESPACE, value_parser = values::namespace)]
    pub operator_namespace: String,
    /// How it is printed.
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

/// The argument of `man`.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct ManArgs {
    /// The command that the page is about. All of them, in short, when left out.
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
}

/// How something is printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs. Fields are added, never renamed.
    Json,
    /// The same as YAML.
    Yaml,
}
