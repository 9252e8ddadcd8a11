//! The main job: trains a grid of real classifiers.

mod training;

use training::{Failure, TrainingJob};

fn main() -> Result<(), Failure> {
    for TrainingJob { question, algorithm, seed } in training::grid(42) {
        let outcome = TrainingJob { question, algorithm: algorithm.clone(), seed }.run()?;
        println!(
            "{:16} {:20} accuracy {:.4} f1 {:.4} {} bytes, trained on {}",
            question.model(),
            algorithm.name(),
            outcome.accuracy,
            outcome.f1,
            outcome.artifact.len(),
            outcome.training_data_hash,
        );
    }
    Ok(())
}
