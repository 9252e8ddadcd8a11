//! The registry's side: which version is the best, what there is, and whether the books balance.

use std::collections::{BTreeMap, BTreeSet};

use ml_persistence::jobs::{JobFilter, State};
use ml_persistence::registry::{Change, PageRequest};
use ml_persistence::{MlPersistence, RecoveryReport, Version};
use serde_json::{Value, json};

use crate::training::{Failure, Question};
use crate::work::{self, Done, QUEUE};

/// The alias of the version that a service would load.
const PRODUCTION: &str = "production";

/// Rows of the table for each model.
const ROWS_MAX: usize = 8;

/// Everything that the registry holds after a run.
pub struct Report {
    /// Versions of each model, the best first.
    models: Vec<(&'static str, Vec<Scored>)>,
    /// Versions in the store.
    versions: usize,
    /// Jobs that became more than one version.
    doubled: usize,
    /// Completed jobs that became none.
    lost: usize,
    /// Jobs that were given up.
    discarded: u64,
}

/// A version with its metrics as numbers.
struct Scored {
    accuracy: f64,
    f1: f64,
    active: bool,
    version: Version,
}

/// Makes the best version of each model the active one and gives it the alias, in one transaction a model.
pub fn promote_the_best(db: &MlPersistence) -> Result<(), Failure> {
    let change = Change::new().by("quickstart");
    for question in Question::ALL {
        let model = question.model();
        let Some(best) = scored_versions(db, model)?.into_iter().next() else { continue };
        let number = best.version.version;
        if best.active && best.version.aliases.iter().any(|alias| alias == PRODUCTION) {
            continue;
        }
        db.transact(|txn| {
            txn.registry().activate(model, number, &change)?;
            txn.registry().set_alias(model, PRODUCTION, number, &change)
        })?;
    }
    Ok(())
}

/// All versions of `model`, the best first. Equally good ones keep their order, so an older one is not replaced by its
/// twin.
fn scored_versions(db: &MlPersistence, model: &str) -> Result<Vec<Scored>, Failure> {
    let Some(record) = db.registry().get_model(model)? else { return Ok(Vec::new()) };
    let mut scored = Vec::new();
    let mut request = Some(PageRequest::new().size(1_000));
    while let Some(asked) = request {
        let page = db.registry().list_versions(model, &asked)?;
        if let Some(row) = page.damaged.first() {
            return Err(format!("{}: {}", row.key, row.error).into());
        }
        for version in page.versions {
            let metric = |name: &str| version.metrics.get(name).and_then(|json| json.to_value().as_f64());
            let metrics = metric("accuracy").zip(metric("f1"));
            let (accuracy, f1) = metrics.ok_or_else(|| format!("{model} v{} has no metrics", version.version))?;
            scored.push(Scored { accuracy, f1, active: record.active_version == Some(version.version), version });
        }
        request = page.next_page_token.map(|token| PageRequest::new().size(1_000).token(token));
    }
    scored.sort_by(|a, b| b.accuracy.total_cmp(&a.accuracy).then(b.f1.total_cmp(&a.f1)));
    Ok(scored)
}

impl Report {
    /// Reads models, versions and finished jobs.
    pub fn read(db: &MlPersistence) -> Result<Self, Failure> {
        let mut models = Vec::new();
        let mut versions_of_job = BTreeMap::<String, usize>::new();
        for question in Question::ALL {
            let versions = scored_versions(db, question.model())?;
            for source in versions.iter().filter_map(|scored| scored.version.source.clone()) {
                *versions_of_job.entry(source).or_default() += 1;
            }
            models.push((question.model(), versions));
        }
        let completed = completed_jobs(db)?;
        Ok(Report {
            versions: models.iter().map(|(_, versions)| versions.len()).sum(),
            models,
            doubled: versions_of_job.values().filter(|count| **count > 1).count(),
            lost: completed.iter().filter(|job| !versions_of_job.contains_key(*job)).count(),
            discarded: work::counts(db)?.discarded,
        })
    }

    /// The best versions of each model, for people.
    pub fn print_table(&self) {
        println!(
            "\n{:<14} {:>7}  {:<19} {:>8} {:>7}  {:<20} hyper-parameters",
            "model", "version", "algorithm", "accuracy", "f1", ""
        );
        for (model, versions) in &self.models {
            for Scored { accuracy, f1, active, version } in versions.iter().take(ROWS_MAX) {
                let algorithm = version.tags.get("algorithm").map_or("", String::as_str);
                let active = active.then_some("active");
                let marks: Vec<&str> = active.into_iter().chain(version.aliases.iter().map(String::as_str)).collect();
                let settings: Vec<String> = version.hyperparams.iter().map(|(k, v)| format!("{k}={v}")).collect();
                println!(
                    "{model:<14} {:>7}  {algorithm:<19} {accuracy:>8.4} {f1:>7.4}  {:<20} {}",
                    version.version,
                    marks.join(", "),
                    settings.join(" ")
                );
            }
            if versions.len() > ROWS_MAX {
                println!("{model:<14} and {} more", versions.len() - ROWS_MAX);
            }
        }
        println!();
    }

    /// Whether jobs and versions agree, in one line.
    pub fn print_audit(&self) {
        println!(
            "{} versions in the store; {} jobs have more than one, {} completed jobs have none",
            self.versions, self.doubled, self.lost
        );
    }

    /// The outcome as one JSON object.
    pub fn to_json(&self, done: &Done, recovery: &RecoveryReport) -> Value {
        let bests = self.models.iter().filter_map(|(model, versions)| Some((model, versions.first()?)));
        let best = bests.max_by(|(_, a), (_, b)| a.accuracy.total_cmp(&b.accuracy));
        json!({
            "jobs_completed": done.completed,
            "jobs_rerun": done.rerun,
            "versions": self.versions,
            "versions_doubled": self.doubled,
            "versions_lost": self.lost,
            "best": best.map(|(model, best)| json!({
                "model": model, "version": best.version.version, "accuracy": best.accuracy,
            })),
            "recovery": recovery,
        })
    }

    /// # Errors
    /// When the store broke its promise, or training failed for good.
    pub fn check(&self) -> Result<(), Failure> {
        if self.doubled + self.lost > 0 {
            return Err("jobs and versions do not agree".into());
        }
        if self.discarded > 0 {
            return Err(format!("{} jobs were given up", self.discarded).into());
        }
        Ok(())
    }
}

/// The ids of the completed jobs that retention has not pruned.
fn completed_jobs(db: &MlPersistence) -> Result<BTreeSet<String>, Failure> {
    let mut found = BTreeSet::new();
    let mut after = None;
    loop {
        let page = db.jobs().list(&JobFilter::new().queue(QUEUE).state(State::Completed), after.as_deref(), 1_000)?;
        found.extend(page.jobs.iter().map(|job| job.id.to_string()));
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}
