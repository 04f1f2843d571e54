// Runs within the compiler: gives the exports the names of the world, and tells whatever makes a
// component of the module which world it is.

import { Transform } from "assemblyscript/transform";
import { bytes, names, section } from "./world.mjs";

export default class extends Transform {
  afterCompile(module) {
    for (const [inside, outside] of Object.entries(names)) {
      const internal = `assembly/component/${inside}`;
      module.removeExport(inside);
      module.addFunctionExport(internal, outside);
    }
    // For hosts of our own; a component has names of the world alone.
    module.removeExport("log");
    module.addCustomSection(section, bytes);
  }
}
