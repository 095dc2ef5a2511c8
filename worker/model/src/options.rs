//! Where a model runs and in which numbers.

use std::{fmt, str::FromStr};

use candle_core::{DType, Device};
use lode_domain::control::Control;

use crate::{ModelError, error::Result};

/// Where the tensors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first CUDA device if this build can use one and it is there, else the CPU.
    #[default]
    Auto,
    /// The CPU, all threads of the rayon pool.
    Cpu,
    /// One CUDA device.
    Cuda(usize),
}

/// The number type of weights and matrix products; everything between them is f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits: the default, and the only one for exact mining.
    #[default]
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half.
    F16,
}

/// How a model is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LoadOptions {
    /// Where the tensors live.
    pub device: DeviceChoice,
    /// The number type of weights and matrix products.
    pub precision: Precision,
    /// What is done to the model, if it is to be a control.
    pub control: Option<Control>,
}

/// A word that names no device or number type.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not one of {choices}")]
pub struct BadOption {
    /// The text as given.
    pub text: String,
    /// What may stand there.
    pub choices: &'static str,
}

impl FromStr for DeviceChoice {
    type Err = BadOption;

    fn from_str(text: &str) -> Result<Self, BadOption> {
        let number = || text.strip_prefix("cuda:").and_then(|digits| digits.parse().ok());
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => number()
                .map(Self::Cuda)
                .ok_or_else(|| BadOption { text: text.to_owned(), choices: "auto, cpu, cuda, cuda:N" }),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Precision {
    type Err = BadOption;

    fn from_str(text: &str) -> Result<Self, BadOption> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            _ => Err(BadOption { text: text.to_owned(), choices: "f32, bf16, f16" }),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

impl Precision {
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

impl LoadOptions {
    /// Opens the device and checks that it can multiply in the precision.
    pub(crate) fn open(&self) -> Result<Device> {
        let device = match self.device {
            DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::Auto => cuda(0).unwrap_or(Device::Cpu),
            DeviceChoice::Cuda(number) => {
                cuda(number).map_err(|problem| ModelError::Device { device: self.device.to_string(), problem })?
            }
        };
        if device.is_cpu() && self.precision == Precision::Bf16 {
            let device = "the CPU".to_owned();
            return Err(ModelError::Precision { precision: self.precision, device, instead: "f32 or f16" });
        }
        Ok(device)
    }
}

/// Opens a CUDA device, or says why not.
fn cuda(number: usize) -> Result<Device, String> {
    if !cfg!(feature = "cuda") {
        return Err("this build has no GPU support: build with `--features cuda`, or use `--device cpu`".to_owned());
    }
    Device::new_cuda(number).map_err(|error| error.to_string())
}

/// What to call a device: `cpu (2 threads)`, `cuda:0`.
pub(crate) fn label(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => format!("cpu ({} threads)", rayon::current_num_threads()),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_round_trip() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for text in ["f32", "bf16", "f16"] {
            assert_eq!(text.parse::<Precision>().unwrap().to_string(), text);
        }
        assert!("gpu".parse::<DeviceChoice>().unwrap_err().to_string().contains("cuda:N"));
        assert!("f8".parse::<Precision>().is_err());
    }

    #[test]
    fn what_this_build_cannot_do_is_said() {
        let bf16 = LoadOptions { device: DeviceChoice::Cpu, precision: Precision::Bf16, control: None };
        assert_eq!(bf16.open().unwrap_err().to_string(), "dtype bf16 is not supported on the CPU; use f32 or f16");
        if !cfg!(feature = "cuda") {
            let cuda = LoadOptions { device: DeviceChoice::Cuda(1), ..LoadOptions::default() };
            let message = cuda.open().unwrap_err().to_string();
            assert!(message.starts_with("device cuda:1: ") && message.contains("--features cuda"), "{message}");
        }
    }
}
