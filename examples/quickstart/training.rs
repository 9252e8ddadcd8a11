//! The machine learning of the quickstart: what one job trains, and how good the result is.
//!
//! Nothing here knows the store. A [`TrainingJob`] is plain JSON; [`TrainingJob::run`] answers the same metrics on every
//! machine and in every run, because the split and the bootstrap come from the job's own seed.
//!
//! ```text
//! TrainingJob ──> rows of a data set ──> shuffled by the seed ──> 70 % train ──> classifier ──> artifact (bytes)
//!                                                             └─> 30 % held out ──> accuracy, macro F1
//! ```

use bincode::Options;
use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use linfa_bayes::GaussianNb;
use linfa_logistic::{FittedLogisticRegression, LogisticRegression};
use linfa_trees::{DecisionTree, SplitQuality};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What the quickstart can fail with; the text goes to the job as its error.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One cell of the grid, and the payload of its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingJob {
    /// What to learn; the name of the model in the registry, too.
    pub question: Question,
    /// How to learn it.
    #[serde(flatten)]
    pub algorithm: Algorithm,
    /// Decides which rows are held out, and every bootstrap sample.
    pub seed: u64,
}

/// A yes-or-no question about the rows of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Is this iris a virginica? (150 flowers)
    IrisVirginica,
    /// Do tasters give this red wine 6 points or more? (1,599 wines, about half of them)
    WineGood,
    /// Do they give it 7 or more? (one wine in seven)
    WineExcellent,
}

/// A learning algorithm with its hyper-parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "algorithm", content = "hyperparams", rename_all = "snake_case")]
pub enum Algorithm {
    DecisionTree { criterion: Criterion, depth_max: usize },
    RandomForest { trees: usize, depth_max: usize },
    LogisticRegression { alpha: f64 },
    NaiveBayes { smoothing: f64 },
}

/// What a tree minimizes when it splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    Gini,
    Entropy,
}

/// What a job brings back.
#[derive(Debug)]
pub struct Outcome {
    /// Share of the held-out rows that are answered correctly.
    pub accuracy: f64,
    /// F1 of both answers, averaged without weights: a classifier that always says no does badly here.
    pub f1: f64,
    /// SHA-256 of the rows and answers trained on, in hex.
    pub training_data_hash: String,
    /// The classifier, ready to be loaded by [`Classifier::from_bytes`].
    pub artifact: Vec<u8>,
}

/// A trained classifier with the scaling it was trained under.
#[derive(Debug, Serialize, Deserialize)]
pub struct Classifier {
    mean: Array1<f64>,
    deviation: Array1<f64>,
    kind: Kind,
}

#[derive(Debug, Serialize, Deserialize)]
enum Kind {
    Tree(DecisionTree<f64, bool>),
    Forest(Vec<DecisionTree<f64, bool>>),
    Logistic(FittedLogisticRegression<f64, bool>),
    Bayes(GaussianNb<f64, bool>),
}

impl Question {
    /// Every question, in the order of the grid.
    pub const ALL: [Question; 3] = [Question::IrisVirginica, Question::WineGood, Question::WineExcellent];

    /// The name of its model in the registry.
    pub fn model(self) -> &'static str {
        match self {
            Question::IrisVirginica => "iris-virginica",
            Question::WineGood => "wine-good",
            Question::WineExcellent => "wine-excellent",
        }
    }

    fn rows(self) -> Rows {
        let (data, yes): (_, fn(&usize) -> bool) = match self {
            Question::IrisVirginica => (linfa_datasets::iris(), |species| *species == 2),
            Question::WineGood => (linfa_datasets::winequality(), |points| *points >= 6),
            Question::WineExcellent => (linfa_datasets::winequality(), |points| *points >= 7),
        };
        Rows { answers: data.targets.map(yes), features: data.records }
    }
}

impl Algorithm {
    /// Its name in a table.
    pub fn name(&self) -> &'static str {
        match self {
            Algorithm::DecisionTree { .. } => "decision tree",
            Algorithm::RandomForest { .. } => "random forest",
            Algorithm::LogisticRegression { .. } => "logistic regression",
            Algorithm::NaiveBayes { .. } => "naive Bayes",
        }
    }

    /// Its hyper-parameters by name, as the registry keeps them.
    pub fn hyperparams(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut fields)) => match fields.remove("hyperparams") {
                Some(Value::Object(hyperparams)) => hyperparams,
                _ => Map::new(),
            },
            _ => Map::new(),
        }
    }

    /// Every algorithm with every setting that the grid tries.
    fn settings() -> Vec<Algorithm> {
        let mut all = Vec::new();
        for depth_max in [3, 6, 12] {
            for criterion in [Criterion::Gini, Criterion::Entropy] {
                all.push(Algorithm::DecisionTree { criterion, depth_max });
            }
        }
        for trees in [15, 60] {
            for depth_max in [4, 8] {
                all.push(Algorithm::RandomForest { trees, depth_max });
            }
        }
        all.extend([0.1, 1.0, 10.0].map(|alpha| Algorithm::LogisticRegression { alpha }));
        all.extend([1e-9, 1e-2].map(|smoothing| Algorithm::NaiveBayes { smoothing }));
        all
    }
}

/// The whole grid: every question by every setting, under one seed.
pub fn grid(seed: u64) -> Vec<TrainingJob> {
    let jobs = |question| Algorithm::settings().into_iter().map(move |algorithm| (question, algorithm));
    let cells = Question::ALL.into_iter().flat_map(jobs);
    cells.map(|(question, algorithm)| TrainingJob { question, algorithm, seed }).collect()
}

impl TrainingJob {
    /// Trains on one part of the rows, measures on the other.
    pub fn run(&self) -> Result<Outcome, Failure> {
        let mut random = Random(self.seed);
        let (train, held_out) = self.question.rows().shuffled(&mut random).split(0.7);
        let training_data_hash = train.sha256();
        let classifier = Classifier::fit(&self.algorithm, &train, &mut random)?;
        let answers = classifier.predict(&held_out.features);

        let artifact = classifier.to_bytes()?;
        if Classifier::from_bytes(&artifact)?.predict(&held_out.features) != answers {
            return Err("the stored classifier answers differently from the trained one".into());
        }
        Ok(Outcome {
            accuracy: accuracy(&answers, &held_out.answers),
            f1: macro_f1(&answers, &held_out.answers),
            training_data_hash,
            artifact,
        })
    }
}

impl Classifier {
    fn fit(algorithm: &Algorithm, train: &Rows, random: &mut Random) -> Result<Self, Failure> {
        let mean = train.features.mean_axis(Axis(0)).ok_or("no rows to train on")?;
        // A feature that never changes would divide by zero; it carries no information, so any scale will do.
        let deviation = train.features.std_axis(Axis(0), 0.0).map(|d| if *d > 0.0 { *d } else { 1.0 });
        let train = Rows { features: (&train.features - &mean) / &deviation, answers: train.answers.clone() };
        let kind = match *algorithm {
            Algorithm::DecisionTree { criterion, depth_max } => Kind::Tree(fit_tree(&train, criterion, depth_max)?),
            Algorithm::RandomForest { trees, depth_max } => {
                let samples = (0..trees).map(|_| train.bootstrap(random));
                Kind::Forest(samples.map(|rows| fit_tree(&rows, Criterion::Gini, depth_max)).collect::<Result<_, _>>()?)
            }
            Algorithm::LogisticRegression { alpha } => {
                Kind::Logistic(LogisticRegression::default().alpha(alpha).max_iterations(200).fit(&train.dataset())?)
            }
            Algorithm::NaiveBayes { smoothing } => {
                Kind::Bayes(GaussianNb::params().var_smoothing(smoothing).fit(&train.dataset())?)
            }
        };
        Ok(Classifier { mean, deviation, kind })
    }

    /// Answers every row.
    pub fn predict(&self, features: &Array2<f64>) -> Array1<bool> {
        let features = (features - &self.mean) / &self.deviation;
        match &self.kind {
            Kind::Tree(tree) => tree.predict(&features),
            Kind::Logistic(logistic) => logistic.predict(&features),
            Kind::Bayes(bayes) => bayes.predict(&features),
            Kind::Forest(trees) => {
                let mut votes = Array1::<usize>::zeros(features.nrows());
                for tree in trees {
                    votes += &tree.predict(&features).map(|yes| usize::from(*yes));
                }
                votes.map(|yes| yes * 2 > trees.len())
            }
        }
    }

    /// Its bytes, exact to the last bit of every weight.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        Ok(artifact_format().serialize(self)?)
    }

    /// The classifier behind [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        Ok(artifact_format().deserialize(bytes)?)
    }
}

/// Bounded, so that a damaged artifact cannot ask for all the memory there is.
fn artifact_format() -> impl Options {
    bincode::DefaultOptions::new().with_limit(8 << 20)
}

fn fit_tree(rows: &Rows, criterion: Criterion, depth_max: usize) -> Result<DecisionTree<f64, bool>, Failure> {
    let criterion = match criterion {
        Criterion::Gini => SplitQuality::Gini,
        Criterion::Entropy => SplitQuality::Entropy,
    };
    // linfa settles a leaf with as many yes as no by the order of a hash map, which changes with every process. A yes
    // that weighs a little more decides it, and 1 + 2^-12 adds up exactly for as many rows as there are here.
    let weights = rows.answers.map(|yes| if *yes { 1.0 + 1.0 / 4096.0 } else { 1.0 });
    let params = DecisionTree::params().split_quality(criterion).max_depth(Some(depth_max)).min_weight_leaf(3.0);
    Ok(params.fit(&rows.dataset().with_weights(weights))?)
}

/// Feature rows with their answers.
struct Rows {
    features: Array2<f64>,
    answers: Array1<bool>,
}

impl Rows {
    fn dataset(&self) -> DatasetBase<Array2<f64>, Array1<bool>> {
        DatasetBase::new(self.features.clone(), self.answers.clone())
    }

    fn select(&self, indices: &[usize]) -> Rows {
        Rows { features: self.features.select(Axis(0), indices), answers: self.answers.select(Axis(0), indices) }
    }

    /// The same rows in another order (Fisher and Yates).
    fn shuffled(&self, random: &mut Random) -> Rows {
        let mut order: Vec<usize> = (0..self.answers.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        self.select(&order)
    }

    /// As many rows again, drawn with replacement.
    fn bootstrap(&self, random: &mut Random) -> Rows {
        let count = self.answers.len();
        self.select(&(0..count).map(|_| random.below(count)).collect::<Vec<_>>())
    }

    /// The first `share` of the rows, and the others.
    fn split(self, share: f64) -> (Rows, Rows) {
        let (features, answers) = (self.features.view(), self.answers.view());
        let cut = (answers.len() as f64 * share).round() as usize;
        let (first, second) = (features.split_at(Axis(0), cut), answers.split_at(Axis(0), cut));
        let rows = |features: ndarray::ArrayView2<f64>, answers: ndarray::ArrayView1<bool>| Rows {
            features: features.to_owned(),
            answers: answers.to_owned(),
        };
        (rows(first.0, second.0), rows(first.1, second.1))
    }

    /// SHA-256 of features and answers, row by row, each number as eight little-endian bytes.
    fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for (row, yes) in self.features.rows().into_iter().zip(&self.answers) {
            row.iter().for_each(|feature| hash.update(feature.to_le_bytes()));
            hash.update([u8::from(*yes)]);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// SplitMix64: small, fast, and the same sequence everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`. The bias of the multiplication is below 2^-50 for the few thousand rows here.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

fn accuracy(answers: &Array1<bool>, truth: &Array1<bool>) -> f64 {
    let right = answers.iter().zip(truth).filter(|(answer, truth)| answer == truth).count();
    right as f64 / truth.len() as f64
}

fn macro_f1(answers: &Array1<bool>, truth: &Array1<bool>) -> f64 {
    let f1 = |class: bool| {
        let count = |of: fn(bool, bool) -> bool| {
            answers.iter().zip(truth).filter(|(answer, truth)| of(**answer == class, **truth == class)).count() as f64
        };
        let (hit, miss, false_alarm) = (count(|a, t| a && t), count(|a, t| !a && t), count(|a, t| a && !t));
        // No such row and none answered so: nothing was missed.
        if hit + miss + false_alarm == 0.0 { 1.0 } else { 2.0 * hit / (2.0 * hit + miss + false_alarm) }
    };
    (f1(true) + f1(false)) / 2.0
}
