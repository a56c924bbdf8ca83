// A stage made of a libtorch module, its backward split into an input half and a weight half
// without touching the module: DualPipe's zero-bubble slots need the halves apart.
//
// How it is split: the nodes of autograd's graph on a way from the output to the input are its
// spine. A node of the spine that parameters feed, perhaps through nodes off it, is a cut. The
// input half runs the engine from the output to the input and keeps the gradients that arrive at
// the cuts; the weight half runs it from the cuts to the parameters. Together they run every node
// once, with the gradients that a whole backward has there, and so give its bits.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>

#include "runtime/inproc_transport.h"
#include "runtime/stage.h"
#include "runtime/train.h"
#include "runtime/train_on_threads.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"

namespace {

using torch::autograd::Edge;
using torch::autograd::Engine;
using torch::autograd::Node;
using torch::autograd::variable_list;

constexpr int stages = 2, microbatches = 4;
constexpr std::int64_t samples = 16, width = 32;
constexpr std::size_t boundary_bytes = samples * width * sizeof(float);

Edge edge_to(const torch::Tensor& tensor) {
  return torch::autograd::impl::gradient_edge(tensor);
}

// Keeps the gradients that come to a node.
struct Capture : torch::autograd::FunctionPreHook {
  explicit Capture(variable_list* kept) : gradients(kept) {}
  variable_list operator()(const variable_list& arriving) override {
    *gradients = arriving;
    return arriving;
  }
  variable_list* gradients;
};

// A node where the weight half begins.
struct Cut {
  std::shared_ptr<Node> node;
  variable_list gradients;              // filled by the input half
  std::vector<std::size_t> parameters;  // that it feeds, as places in the module's list
};

// Who uses what a node computes, for all nodes behind `root`.
struct Graph {
  std::unordered_map<Node*, std::shared_ptr<Node>> nodes;
  std::unordered_map<Node*, std::vector<Node*>> users;
};

Graph graph_of(const std::shared_ptr<Node>& root) {
  Graph graph;
  graph.nodes[root.get()] = root;
  std::deque<Node*> open{root.get()};
  while (!open.empty()) {
    Node* const node = open.front();
    open.pop_front();
    for (const Edge& edge : node->next_edges()) {
      if (edge.function) {
        graph.users[edge.function.get()].push_back(node);
        if (graph.nodes.emplace(edge.function.get(), edge.function).second) {
          open.push_back(edge.function.get());
        }
      }
    }
  }
  return graph;
}

// The nodes that can be reached from `from` through their users; with `stop`, not beyond those.
std::vector<Node*> upwards(Graph& graph, Node* from, const std::unordered_set<Node*>* stop) {
  std::vector<Node*> reached{from};
  std::unordered_set<Node*> seen{from};
  for (std::size_t next = 0; next < reached.size(); ++next) {
    if (stop != nullptr && stop->contains(reached[next])) {
      continue;
    }
    for (Node* const user : graph.users[reached[next]]) {
      if (seen.insert(user).second) {
        reached.push_back(user);
      }
    }
  }
  return reached;
}

std::vector<Cut> find_cuts(const torch::Tensor& output, const torch::Tensor& input,
                           const std::vector<torch::Tensor>& parameters) {
  Graph graph = graph_of(output.grad_fn());
  const std::vector<Node*> way = upwards(graph, edge_to(input).function.get(), nullptr);
  const std::unordered_set<Node*> spine(way.begin(), way.end());
  std::vector<Cut> cuts;
  for (std::size_t place = 0; place < parameters.size(); ++place) {
    for (Node* const node : upwards(graph, edge_to(parameters[place]).function.get(), &spine)) {
      if (spine.contains(node)) {
        auto cut = std::ranges::find(cuts, node, [](const Cut& one) { return one.node.get(); });
        if (cut == cuts.end()) {
          cut = cuts.insert(cuts.end(),
                            {.node = graph.nodes[node], .gradients = {}, .parameters = {}});
        }
        cut->parameters.push_back(place);
      }
    }
  }
  return cuts;
}

class TorchStage final : public dualpipe::Stage {
 public:
  explicit TorchStage(int stage) : stage_(stage), losses_(microbatches) {
    module_->push_back(torch::nn::Linear(width, width));
    module_->push_back(torch::nn::GELU());
    module_->push_back(torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})));
    parameters_ = module_->parameters();
    // Equal stages must come out equal, and ranks on threads make theirs at the same time.
    const torch::NoGradGuard guard;
    at::Generator random = at::detail::createCPUGenerator(static_cast<std::uint64_t>(stage) + 1);
    for (torch::Tensor& parameter : parameters_) {
      parameter.uniform_(-0.2, 0.2, random);
    }
  }

  std::size_t input_bytes() const override { return stage_ == 0 ? 0 : boundary_bytes; }
  std::size_t output_bytes() const override { return stage_ == stages - 1 ? 0 : boundary_bytes; }
  std::size_t parameter_count() const override {
    std::size_t count = 0;
    for (const torch::Tensor& parameter : parameters_) {
      count += static_cast<std::size_t>(parameter.numel());
    }
    return count;
  }
  std::int64_t activation_bytes() const override { return 4 * boundary_bytes; }
  void allocate(int slots) override { slots_.resize(static_cast<std::size_t>(slots)); }

  void forward(const dualpipe::StageOp& op, std::span<const std::byte> input,
               std::span<std::byte> output) override {
    Slot& slot = slots_[static_cast<std::size_t>(op.slot)];
    slot.input = stage_ == 0 ? data_of(op.microbatch) : torch::empty({samples, width});
    if (!input.empty()) {
      std::memcpy(slot.input.data_ptr(), input.data(), input.size());
    }
    slot.input.set_requires_grad(true);
    slot.output = module_->forward(slot.input);
    if (stage_ == stages - 1) {  // the mean square, of which the microbatches share
      slot.output = slot.output.sub(data_of(op.microbatch)).square().mean() / microbatches;
      losses_[static_cast<std::size_t>(op.microbatch)] = slot.output.item<double>();
    } else {
      std::memcpy(output.data(), slot.output.data_ptr(), output.size());
    }
  }
  double loss(int microbatch) const override {
    return losses_[static_cast<std::size_t>(microbatch)];
  }

  void backward_input(const dualpipe::StageOp& op, std::span<const std::byte> output_gradient,
                      std::span<std::byte> input_gradient) override {
    Slot& slot = slots_[static_cast<std::size_t>(op.slot)];
    torch::Tensor slope = torch::ones_like(slot.output);
    if (!output_gradient.empty()) {
      std::memcpy(slope.data_ptr(), output_gradient.data(), output_gradient.size());
    }
    slot.cuts = find_cuts(slot.output, slot.input, parameters_);
    for (Cut& cut : slot.cuts) {
      cut.node->add_pre_hook(std::make_unique<Capture>(&cut.gradients));
    }
    const variable_list gradients = Engine::get_default_engine().execute(
        {edge_to(slot.output)}, {slope}, /*keep_graph=*/true, /*create_graph=*/false,
        /*accumulate_grad=*/false, {edge_to(slot.input)});
    if (!input_gradient.empty()) {
      const torch::Tensor whole = gradients.front().contiguous();
      std::memcpy(input_gradient.data(), whole.data_ptr(), input_gradient.size());
    }
  }

  void backward_weight(const dualpipe::StageOp& op, std::span<float> gradient) override {
    Slot& slot = slots_[static_cast<std::size_t>(op.slot)];
    variable_list sums(parameters_.size());
    for (const Cut& cut : slot.cuts) {
      std::vector<Edge> roots, leaves;
      variable_list arriving;
      for (std::size_t number = 0; number < cut.gradients.size(); ++number) {
        if (cut.gradients[number].defined()) {
          roots.emplace_back(cut.node, static_cast<std::uint32_t>(number));
          arriving.push_back(cut.gradients[number]);
        }
      }
      for (const std::size_t place : cut.parameters) {
        leaves.push_back(edge_to(parameters_[place]));
      }
      const variable_list found = Engine::get_default_engine().execute(
          roots, arriving, /*keep_graph=*/false, /*create_graph=*/false, /*accumulate_grad=*/false,
          leaves);
      for (std::size_t k = 0; k < found.size(); ++k) {
        torch::Tensor& sum = sums[cut.parameters[k]];
        sum = sum.defined() ? sum + found[k] : found[k];
      }
    }
    write(sums, gradient);
    slot = {};
  }

  void apply_gradient(std::span<const float> gradient) override {
    const torch::NoGradGuard guard;
    std::size_t offset = 0;
    for (torch::Tensor& parameter : parameters_) {
      const std::size_t size = static_cast<std::size_t>(parameter.numel());
      torch::Tensor step = torch::empty_like(parameter);
      std::memcpy(step.data_ptr(), gradient.data() + offset, size * sizeof(float));
      parameter.sub_(step, 0.2);
      offset += size;
    }
  }

  // The whole backward of the same microbatch by Tensor::backward(), for comparison.
  std::vector<float> whole_gradient(int microbatch) {
    module_->zero_grad();
    torch::Tensor input = data_of(microbatch).set_requires_grad(true);
    (module_->forward(input).sub(data_of(microbatch)).square().mean() / microbatches).backward();
    variable_list gradients;
    for (const torch::Tensor& parameter : parameters_) {
      gradients.push_back(parameter.grad());
    }
    std::vector<float> all(parameter_count());
    write(gradients, all);
    return all;
  }

 private:
  struct Slot {
    torch::Tensor input, output;
    std::vector<Cut> cuts;
  };

  static torch::Tensor data_of(int microbatch) {
    return torch::arange(samples * width, torch::kFloat)
        .mul(0.1 * (microbatch + 1))
        .sin()
        .reshape({samples, width});
  }
  static void write(const variable_list& tensors, std::span<float> to) {
    std::size_t offset = 0;
    for (const torch::Tensor& tensor : tensors) {
      const torch::Tensor whole = tensor.contiguous();
      const std::size_t size = static_cast<std::size_t>(whole.numel());
      std::memcpy(to.data() + offset, whole.data_ptr(), size * sizeof(float));
      offset += size;
    }
  }

  int stage_;
  torch::nn::Sequential module_;
  std::vector<torch::Tensor> parameters_;
  std::vector<Slot> slots_;
  std::vector<double> losses_;
};

// The halves of the last stage, which is also a model by itself, against a whole backward.
bool halves_are_the_whole() {
  TorchStage stage(stages - 1);
  stage.allocate(1);
  std::vector<std::byte> input(boundary_bytes), input_gradient(boundary_bytes);
  TorchStage first(0);
  for (int microbatch = 0; microbatch < microbatches; ++microbatch) {
    const torch::Tensor data = torch::arange(samples * width, torch::kFloat)
                                   .mul(0.1 * (microbatch + 1))
                                   .sin()
                                   .contiguous();
    std::memcpy(input.data(), data.data_ptr(), input.size());
    const dualpipe::StageOp op{.step = 0, .microbatch = microbatch, .slot = 0};
    std::vector<float> gradient(stage.parameter_count());
    stage.forward(op, input, {});
    stage.backward_input(op, {}, input_gradient);
    stage.backward_weight(op, gradient);
    if (gradient != stage.whole_gradient(microbatch)) {
      return false;
    }
  }
  return true;
}

}  // namespace

int main() {
  torch::set_num_threads(1);
  const bool equal = halves_are_the_whole();
  std::printf("halves %s the whole backward's bits\n", equal ? "give" : "DO NOT give");
  const auto program = dualpipe::program_or_throw(
      dualpipe::compile_with_least_buffers(dualpipe::generate(
          dualpipe::find_family("zb-h1"), {.ranks = stages, .microbatches = microbatches})),
      "zb-h1");
  dualpipe::TrainOptions options;
  options.steps = 40;
  options.verify = true;
  const auto make_stage = [](int stage) { return std::make_unique<TorchStage>(stage); };
  const auto report = dualpipe::train_on_threads(
      dualpipe::make_inproc_transports(stages), [&](dualpipe::Transport& rank) {
        return dualpipe::train(program, rank, make_stage, options);
      });
  std::printf("loss %.4f -> %.4f, gradients %s\n", report.loss.front(), report.loss.back(),
              *report.max_gradient_difference == 0.0 ? "bitwise equal to a plain run's" : "differ");
  return equal && report.loss.back() < 0.75 * report.loss.front() &&
                 *report.max_gradient_difference == 0.0
             ? 0
             : 1;
}
