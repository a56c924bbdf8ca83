// The language model once more, in double precision, one number at a time and straight from the
// papers' formulas: no matrix library, nothing kept, no backward. Its gradients are central
// differences. It shares nothing with the real model but the names of the tensors.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numbers>
#include <string>
#include <vector>

namespace dualpipe {

class ReferenceTransformer {
 public:
  using Row = std::vector<double>;
  using Rows = std::vector<Row>;  // [position][column], of one sample
  using Tokens = std::vector<std::uint8_t>;

  int layers = 0;
  std::size_t heads = 0;
  std::map<std::string, Row> tensors;

  [[nodiscard]] Rows embed(const Tokens& tokens) const {
    Rows stream;
    const std::size_t width = tensors.at("final_norm.gain").size();
    for (std::size_t position = 0; position < tokens.size(); ++position) {
      Row row(width);
      for (std::size_t column = 0; column < width; ++column) {
        row[column] = tensors.at("embedding.token")[tokens[position] * width + column] +
                      tensors.at("embedding.position")[position * width + column];
      }
      stream.push_back(row);
    }
    return stream;
  }

  // From before block `layer` to after block `end` - 1.
  [[nodiscard]] Rows blocks(Rows stream, int layer, int end) const {
    for (; layer < end; ++layer) {
      const std::string name = "block." + std::to_string(layer);
      add(stream,
          linear(attention(linear(norm(stream, name + ".attention_norm"), name + ".projection")),
                 name + ".attention_output"));
      Rows hidden = linear(norm(stream, name + ".expansion_norm"), name + ".expansion");
      for (Row& row : hidden) {
        for (double& value : row) {
          const double root = std::sqrt(2.0 / std::numbers::pi);
          const double inner = root * (value + 0.044715 * value * value * value);
          value = 0.5 * value * (1.0 + std::tanh(inner));
        }
      }
      add(stream, linear(hidden, name + ".contraction"));
    }
    return stream;
  }

  // The sum over positions of -log p(target).
  [[nodiscard]] double loss(const Rows& stream, const Tokens& targets) const {
    const Rows logits = linear(norm(stream, "final_norm"), "head");
    double sum = 0.0;
    for (std::size_t position = 0; position < targets.size(); ++position) {
      double normaliser = 0.0;
      for (const double logit : logits[position]) {
        normaliser += std::exp(logit);
      }
      sum += std::log(normaliser) - logits[position][targets[position]];
    }
    return sum;
  }

 private:
  static void add(Rows& stream, const Rows& change) {
    for (std::size_t row = 0; row < stream.size(); ++row) {
      for (std::size_t column = 0; column < stream[row].size(); ++column) {
        stream[row][column] += change[row][column];
      }
    }
  }

  [[nodiscard]] Rows linear(const Rows& input, const std::string& name) const {
    const Row& weight = tensors.at(name + ".weight");
    const Row& bias = tensors.at(name + ".bias");
    Rows output(input.size(), bias);
    for (std::size_t row = 0; row < input.size(); ++row) {
      for (std::size_t from = 0; from < input[row].size(); ++from) {
        for (std::size_t to = 0; to < bias.size(); ++to) {
          output[row][to] += input[row][from] * weight[from * bias.size() + to];
        }
      }
    }
    return output;
  }

  [[nodiscard]] Rows norm(const Rows& input, const std::string& name) const {
    const Row& gain = tensors.at(name + ".gain");
    const Row& bias = tensors.at(name + ".bias");
    Rows output = input;
    for (Row& row : output) {
      const double width = static_cast<double>(row.size());
      double mean = 0.0;
      for (const double value : row) {
        mean += value / width;
      }
      double variance = 0.0;
      for (const double value : row) {
        variance += (value - mean) * (value - mean) / width;
      }
      for (std::size_t column = 0; column < row.size(); ++column) {
        row[column] =
            (row[column] - mean) / std::sqrt(variance + 1e-5) * gain[column] + bias[column];
      }
    }
    return output;
  }

  // Input: queries, keys, values side by side.
  [[nodiscard]] Rows attention(const Rows& projections) const {
    const std::size_t width = projections.front().size() / 3;
    const std::size_t head_width = width / heads;
    Rows output(projections.size(), Row(width));
    for (std::size_t query = 0; query < projections.size(); ++query) {
      for (std::size_t head = 0; head < heads; ++head) {
        const std::size_t first = head * head_width;
        Row weights;
        double sum = 0.0;
        for (std::size_t key = 0; key <= query; ++key) {
          double score = 0.0;
          for (std::size_t column = first; column < first + head_width; ++column) {
            score += projections[query][column] * projections[key][width + column];
          }
          weights.push_back(std::exp(score / std::sqrt(static_cast<double>(head_width))));
          sum += weights.back();
        }
        for (std::size_t key = 0; key <= query; ++key) {
          for (std::size_t column = first; column < first + head_width; ++column) {
            output[query][column] += weights[key] / sum * projections[key][2 * width + column];
          }
        }
      }
    }
    return output;
  }
};

}  // namespace dualpipe
