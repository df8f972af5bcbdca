package org.fishermerge.data.hub;

import java.util.List;
import org.fishermerge.data.files.RepositoryFiles;

/** Says which files of a repository are needed, so that nothing else is downloaded. */
@FunctionalInterface
public interface WantedFiles {
  /**
   * The names of the files to download, in the order in which they are wanted.
   *
   * @throws org.fishermerge.checkpoint.InputException if something needed is not there
   */
  List<String> choose(RepositoryFiles files);

  /**
   * What a model consists of: its configuration, its weights as safetensors (never as pickles, nor
   * those of other frameworks), and the files of its tokenizer and image processor.
   */
  static WantedFiles model() {
    return new ModelFiles();
  }

  /**
   * A model's {@code config.json} alone, of a model that {@link #model} finds complete: for a look
   * before its weights are downloaded.
   */
  static WantedFiles modelConfiguration() {
    WantedFiles model = model();
    return files -> {
      model.choose(files);
      return List.of(ModelFiles.CONFIG);
    };
  }

  /** What a LoRA adapter in PEFT's format consists of: its configuration and its weights. */
  static WantedFiles adapter() {
    return files -> {
      String kind = "it is no adapter in PEFT's format; check the id";
      for (String name : ModelFiles.ADAPTER) {
        if (!files.names().contains(name)) {
          throw files.lacks(
              name,
              files.names().contains("adapter_model.bin")
                  ? "its weights are a pickle, adapter_model.bin, which can run code when loaded and"
                      + " is never downloaded: load it with PEFT where you trust it, call"
                      + " save_pretrained(folder), and give that folder"
                  : kind);
        }
      }
      return ModelFiles.ADAPTER;
    };
  }

  /** An adapter's configuration alone, of one that {@link #adapter} finds complete. */
  static WantedFiles adapterConfiguration() {
    WantedFiles adapter = adapter();
    return files -> adapter.choose(files).subList(0, 1);
  }

  /** The files of a model's tokenizer, with its {@code config.json}, and no weights. */
  static WantedFiles tokenizer() {
    return ModelFiles::tokenizer;
  }

  /**
   * Tensors alone: {@code config.json} makes it a {@link #model}; else the one {@code .safetensors}
   * file that is there, or the shards of the one index.
   */
  static WantedFiles tensors() {
    return ModelFiles::tensors;
  }

  /**
   * A Fisher file: the one {@code .safetensors} file that is no model's, or the shards of the one
   * index.
   */
  static WantedFiles fisher() {
    return ModelFiles::fisher;
  }

  /** The same below a folder of the repository; all of it if that is empty. */
  static WantedFiles below(String folder, WantedFiles wanted) {
    if (folder.isEmpty()) {
      return wanted;
    }
    return files -> {
      FolderFiles below = new FolderFiles(files, folder + "/");
      if (below.names().isEmpty()) {
        throw files.lacks("folder " + folder, "check the name");
      }
      return wanted.choose(below).stream().map(name -> folder + "/" + name).toList();
    };
  }

  /** Exactly these. */
  static WantedFiles only(String... names) {
    List<String> wanted = List.of(names);
    return files -> {
      for (String name : wanted) {
        if (!files.names().contains(name)) {
          throw files.lacks(name, "check the name");
        }
      }
      return wanted;
    };
  }
}
