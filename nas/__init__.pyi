from .judging.observer import Observer as Observer
from .run.launch import search as search
from .run.outcome import Outcome as Outcome
from .strategy.domain import Choices as Choices
from .strategy.front_sampler import FrontSampler as FrontSampler
